"""What people read: report, chart, note, question."""

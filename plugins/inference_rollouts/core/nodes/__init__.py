"""Where a canary runs: what plans may ask for, and what clouds answer."""

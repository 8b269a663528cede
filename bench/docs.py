"""The parts of the documents that benchmarks write, between two markers."""

from pathlib import Path

STATISTICS = Path(__file__).parents[1] / "docs" / "statistics.md"


def write(name: str, text: str) -> None:
    """Put `text` between the markers of the benchmark `name` in docs/statistics.md."""
    begin, end = f"<!-- {name} begins -->", f"<!-- {name} ends -->"
    before, _, rest = STATISTICS.read_text().partition(begin)
    STATISTICS.write_text(f"{before}{begin}\n\n{text}\n\n{end}{rest.partition(end)[2]}")

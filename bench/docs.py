"""The parts of the documents that benchmarks write, between two markers."""

from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def write(name: str, text: str, document: str = "statistics.md") -> None:
    """Put `text` between the markers of the benchmark `name` in a document."""
    begin, end = f"<!-- {name} begins -->", f"<!-- {name} ends -->"
    file = DOCS / document
    before, _, rest = file.read_text().partition(begin)
    file.write_text(f"{before}{begin}\n\n{text}\n\n{end}{rest.partition(end)[2]}")

"""The report of a curation, as a page and as Markdown."""

"""What `mkdocs build` makes beside the text of docs/: numbers and figures of results, outputs, help texts."""

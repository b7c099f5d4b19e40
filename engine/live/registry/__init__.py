"""The trained models of a run and what became of them: see README.md."""

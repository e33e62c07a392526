"""The life of a run: errors for people, home, run folders, atomic files, progress, execution, report kit."""

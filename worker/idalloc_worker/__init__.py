"""What operators run: the worker that answers `id.alloc` and `id.health`, and the command line."""

"""What `python -m deploy.generate` writes, one module for each kind of file. No IO."""

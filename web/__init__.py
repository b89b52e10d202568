"""The browser client and the demo page; a package only so that an installed edge finds the files."""

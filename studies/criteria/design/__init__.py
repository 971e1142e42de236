"""What the study trains: settings, names, plans."""

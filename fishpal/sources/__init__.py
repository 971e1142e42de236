"""Where encoders and tables come from: wheels of the package index, the hub."""

"""The Models screen: models on this machine, downloads, servers, adapters."""

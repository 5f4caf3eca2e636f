"""The Log screen: search, filter, read and judge exchanges."""

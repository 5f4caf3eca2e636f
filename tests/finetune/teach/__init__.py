"""Tests of teaching corrections."""

"""Tests of the packages, one module for each kind."""

"""Attacks a running stack, and checks that the stack holds and that honest clients do not notice."""

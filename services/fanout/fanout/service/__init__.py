"""What a service needs around the library: lifecycle, settings, logs, metrics and HTTP."""

"""Programs for the operator that run inside the services' containers: `python -m fanout.cli status|roster|probe`."""

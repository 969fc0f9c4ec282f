"""The access log as operators and citizens read it: collected from all services, exported, searched for what is unusual."""

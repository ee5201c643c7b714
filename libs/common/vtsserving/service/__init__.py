"""The `Service` of a user: functions around models, importing it, and packing what it runs."""

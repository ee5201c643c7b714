"""The life of a process: settings, logs, health, signals."""

"""The dashboard: reads the store, shows it, never acts."""

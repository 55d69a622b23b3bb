"""A monitor of OpenAI project-scoped API keys: it observes and advises, and never sits in the request path."""

__version__ = "0.1.0"

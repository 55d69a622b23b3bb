"""An OpenAI API that can be broken on purpose. It imports nothing from the rest of the monitor: a second opinion."""

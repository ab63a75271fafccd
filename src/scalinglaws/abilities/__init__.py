"""From losses to what models can do: forecasts of task accuracy, and how often they hold."""

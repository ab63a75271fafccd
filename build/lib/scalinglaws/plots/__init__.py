"""Drawing functions: plot(fig, …) draws on an empty matplotlib figure and returns nothing."""

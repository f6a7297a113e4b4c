"""From the log of an online experiment to a table: who gained, by how much, and whether the log can be trusted."""

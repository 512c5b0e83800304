"""Tables and layouts of data that people have."""

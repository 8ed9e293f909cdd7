"""The shipped YAML configurations: ``lmzoo.configs`` holds data only."""

"""From a folder or file that a user names to the settings that a data YAML would hold."""

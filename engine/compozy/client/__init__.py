"""Use the workflows of a project, through its server where one runs and in this process where none does."""

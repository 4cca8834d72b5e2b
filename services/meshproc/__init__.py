"""The mesh room: a head to files to look at, animate and print."""

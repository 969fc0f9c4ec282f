"""Where mail, SMS and letters of the local stack end: real servers that keep what they are given and show it."""

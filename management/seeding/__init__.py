"""Generated people, streamed into the table `users`."""

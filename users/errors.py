"""What can go wrong with people, in their own words. Translated to HTTP once, in `users.api.problems`."""


class UserError(Exception):
    """Base of what this app raises."""


class EmailTaken(UserError):
    """Another person has registered with this e-mail."""


class UserNotFound(UserError):
    """There is no such person, or they are not active."""

"""Proof of who a client is: the users file, passwords, tokens, and the authenticators of other packages.

=================  ======================================================================
module             what it does
=================  ======================================================================
``passwords``      password -> hash, and whether one fits
``users_file``     ``users.toml``: users and bans, read whole and written whole
``first_start``    the first user, so that nobody has to begin without a password
``tokens``         JSON Web Tokens, with pyjwt
``plugins``        entry points of other packages
``checker``        the ``Authenticator``: asks these in turn, hashing in one thread
``desk``           ties them to the settings and to ``broker.access``; reads again what has changed
=================  ======================================================================

What a client may do is not decided here but in ``broker.access_rules``.
"""

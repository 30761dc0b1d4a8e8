"""What survives a stop: one SQLite database, one thread that owns it, group commit.

=================  ====================================================  ==============================
module             what it decides                                       what it must not decide
=================  ====================================================  ==============================
``opening``        whether the file is ours, whole and not too new       anything about its content
``transaction``    how works share one transaction, whose error it is    when a transaction ends
``db``             when a transaction ends, who is answered when         what a row means
``outbox_table``   what a row is, which rows go when there is no room    who waits for them
``outbox``         who waits, what was counted, what an uplink may read  whether anything is committed
``sessions``       what of sessions and wills is written when            what a session is
``retained``       that the last message of a topic is written           what is retained
``ledger``         whether a command was seen before                     whether to carry it out
=================  ====================================================  ==============================

"Is it committed?" is answered in ``db`` only, by calling ``done``.
"""

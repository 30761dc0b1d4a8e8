"""What has happened and what would: traces, trials and replays of rules, hints about them, the path of a value."""

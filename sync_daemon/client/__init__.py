"""What the machines behind the firewall run: verified downloads from a mirror."""

"""What the machines behind the firewall see: the published versions, as the Hub would show them."""

"""One file a widget. Widgets know no database and no client: screens wire them."""

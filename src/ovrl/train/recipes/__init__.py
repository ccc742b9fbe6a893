"""Methods, one small file each; `table` names them."""

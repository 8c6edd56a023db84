"""LightGCN and NGCF beside RecBole's own."""

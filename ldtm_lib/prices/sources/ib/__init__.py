"""Bars from Interactive Brokers, through TWS or IB Gateway on a socket: daily trades of US stocks and funds."""

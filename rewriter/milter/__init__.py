"""The milter: mail servers such as Postfix and Sendmail hand us each mail before they take it."""

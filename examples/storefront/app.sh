#!/bin/sh
# Stands for any program: it reads its secrets and prints far too much.
echo "storefront on port $PORT, log level $LOG_LEVEL"
echo "connecting to $(cat "$DATABASE_URL_FILE")"
echo "signing sessions with $JWT_SECRET"
echo "Authorization: Bearer $OPENAI_API_KEY"
printf 'smtp login, base64: '
printf 'shop:%s' "$SMTP_PASSWORD" | base64
echo "ready"

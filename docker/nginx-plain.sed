# config/nginx/gateway.conf -> plain http inside compose.yaml: no certificate, the container's folders.
s/listen 443 ssl;/listen 8080;/
/^ *ssl_/d
s/server 127\.0\.0\.1:8080;/server sync-daemon:8080;/
s/server_name mirror\.example;/server_name _;/
s#/var/cache/nginx-sync-daemon-#/var/cache/nginx/#
s#max_size=200g#max_size=10g#
s#/var/log/nginx/sync-daemon\.log#/dev/stdout#

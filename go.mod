module github.com/pfkeyd/pfkeyd

go 1.26.8

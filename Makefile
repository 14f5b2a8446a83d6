.PHONY: run test shots

run:
	python3 dev.py run

test:
	python3 dev.py test

shots:
	python3 dev.py shots

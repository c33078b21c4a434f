"""What makes and checks a release: version, distributions, a trial of the wheel, licences of what it depends on."""

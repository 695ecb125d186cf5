// SPDX-License-Identifier: LGPL-2.1-or-later
// Run by reaper.test.js: starts a container on a network with a volume, tells its session, and waits to be killed.
import { GenericContainer, Network } from 'testcontainers';
import { IMAGE, docker } from './engine.js';

const network = await new Network().start();
const container = await new GenericContainer(IMAGE).withCommand(['sleep', '600']).withNetwork(network)
    .withAutoRemove(false).start();
const session = container.getLabels()['org.testcontainers.session-id'];
await docker.createVolume({ Labels: { 'org.testcontainers.session-id': session } });
console.log(JSON.stringify({ session, container: container.getId() }));
setInterval(() => {}, 1000);

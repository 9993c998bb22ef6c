// The tutorial's pair with node-redis, against the kit: publishes one message and prints the first that it receives.
const { createClient } = require('redis')

const url = process.argv[2]

async function main () {
  const publisher = createClient({ url })
  const subscriber = createClient({ url })
  await publisher.connect()
  await subscriber.connect()
  await subscriber.subscribe('notifications', async (message) => {
    console.log(message)
    if (message !== 'from node') return
    await publisher.quit()
    await subscriber.quit()
  })
  console.log('ready')
  process.stdin.once('data', () => publisher.publish('notifications', 'from node'))
  process.stdin.unref?.()
}

main()

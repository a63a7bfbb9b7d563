import { useWebSocket } from '@/hooks/useWebSocket';

function MyComponent() {
  const { connectionStatus, sendMessage, subscribe, unsubscribe } = useWebSocket({
    workspaceId: 'workspace-123',
    autoReconnect: true,
    maxReconnectAttempts: 5,
    onMessage: (event) => {
      const data = JSON.parse(event.data);
      console.log('Received:', data);
    }
  });

  return (
    <div>
      Status: {connectionStatus}
    </div>
  );
}
